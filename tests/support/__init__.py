"""What tests share: small models, shards and runs."""
