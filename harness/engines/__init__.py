"""Where jobs run: workers on this machine."""
