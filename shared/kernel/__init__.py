"""The kernel: exactly once between Kafka and Postgres. Its README explains the protocol."""
