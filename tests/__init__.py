"""Everything that proves the service: unit, integration, acceptance."""
