"""From any annotation file to checked boxes, and from boxes to anchors. Never needs torch."""
