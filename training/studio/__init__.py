"""The bundled model from nothing: one recipe, one module per network."""
