"""REST service, job queue and workers around the same `Request` as the command line."""
