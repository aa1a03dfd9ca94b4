"""Private parts of two rooms or more, each file named for its one job."""
