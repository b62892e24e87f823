"""What the SDK costs, measured side by side with what a user would write by hand. Ratios only."""
