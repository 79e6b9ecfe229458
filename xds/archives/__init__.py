"""Where the images of an Imaging Document Source live."""
