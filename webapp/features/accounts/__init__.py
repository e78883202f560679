"""People: accounts, passwords, browser sessions, API tokens."""
