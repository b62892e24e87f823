"""What joins the SDK with other libraries. Each module needs the one it is named after."""
