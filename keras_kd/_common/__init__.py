"""Private parts, each file named for its one job. Nothing here is public API."""
