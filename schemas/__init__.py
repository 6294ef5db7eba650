"""The published language of Nervure: message models, the topic table, JSON Schemas, AsyncAPI and examples."""
