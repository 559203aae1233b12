"""Networks and the drawn figure that conditions them."""
