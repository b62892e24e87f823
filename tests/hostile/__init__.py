"""Replies that no honest server sends, as data: the tables, a server that plays them, a client that meets them."""
