"""Visual Genome: pictures with descriptions of dozens of regions each."""
