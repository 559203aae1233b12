"""The room for serving: REST service, job queue and web page around the same Request as the command line."""
