"""Pure code on the standard library alone: clock, ids, paging, spans, text."""
