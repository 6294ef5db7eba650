"""The five services; each owns its decisions, its database and its topics, and imports no other."""
