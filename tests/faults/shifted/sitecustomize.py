"""Python runs this first in every process of a test that moves the clock: its wall clock is SHIFT_SECONDS off."""

import os
import time

import time_machine

time_machine.travel(time.time() + float(os.environ["SHIFT_SECONDS"]), tick=True).start()
