"""The wire between device and gateway: messages, codec and framing. Shared and pure."""
