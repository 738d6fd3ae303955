"""Programs that load a cluster: `bench` compares the kit with others on one machine."""
