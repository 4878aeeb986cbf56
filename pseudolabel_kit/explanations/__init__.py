"""`plk evaluate --explanations`: what maps are worth, by measures that nobody trains on."""
