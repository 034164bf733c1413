"""The plan that ships with the service: SoleFlipper's stock and orders."""
