"""Servers, mounts and buckets for the Python tests, the demo and bench."""
