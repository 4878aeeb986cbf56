"""What a trained run says of whole scans: masks, volumes, classes."""
