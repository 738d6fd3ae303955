"""What tests stand on: a real Redis, real servers, real clients, and waiting without sleeping."""
