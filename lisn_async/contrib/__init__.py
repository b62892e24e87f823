"""What joins the SDK with other libraries. Nothing here is imported until it is asked for."""
