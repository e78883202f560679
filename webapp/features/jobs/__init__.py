"""The ledger of longer work: rows that people see, leases that keep them true."""
