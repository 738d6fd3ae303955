"""The store against real Redis servers, and what the tests of the layers above it stand on, too."""
