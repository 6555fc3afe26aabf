"""What the bridge between TypeScript and Python costs: peers of the programs in TypeScript beside this file."""
