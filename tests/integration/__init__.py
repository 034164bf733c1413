"""Tests against real PostgreSQL and real Kafka."""
