"""The services that tests run against: real PostgreSQL 15 and 18, real Kafka."""
