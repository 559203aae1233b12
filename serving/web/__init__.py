"""The web page of the service: a client of its REST interface, in English and Chinese."""
