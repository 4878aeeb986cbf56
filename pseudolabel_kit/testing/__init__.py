"""The conformance kit: what authors of plugins test their parts with."""
