"""The same as for the transport: a cluster that the tests of a module share, and an HTTP client."""

from tests.transport.conftest import cluster, cluster_nodes, cluster_prefix, cluster_settings, http

__all__ = ["cluster", "cluster_nodes", "cluster_prefix", "cluster_settings", "http"]
