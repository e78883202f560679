"""Pure code on the standard library alone: clock, local days, paging, secrets, spans."""
