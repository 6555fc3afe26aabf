"""What the bridge between TypeScript and Python costs: Python's side of the programs in TypeScript here."""
