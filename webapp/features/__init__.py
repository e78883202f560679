"""What the hub can do, without HTTP. A feature imports only features that stand before it in LADDER."""

LADDER = ("accounts", "jobs", "devices", "sessions", "overview")
