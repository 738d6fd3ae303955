"""The seed applications: room chat, lobby and echo. Their wire contract is a table in README.md."""
