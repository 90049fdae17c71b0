"""The data: four IDX files in, uint8 tensors and index splits out, augmented batch by batch."""
