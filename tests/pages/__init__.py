"""The pages, and a sample hub to look at them with."""
