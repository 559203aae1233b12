"""How each family of models sees people: what it takes of selfies, garments and poses."""
