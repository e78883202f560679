"""What one person sees first: time, machines, work in progress, put together from the other features."""
