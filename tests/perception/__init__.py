"""What is read of photographs."""
