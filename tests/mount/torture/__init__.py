"""A torture test of the mount: random operations, a judge, a hostile store."""
