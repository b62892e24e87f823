"""What makes the client at home in other people's programs; each module imports no framework until it is used."""
