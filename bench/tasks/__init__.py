"""Task packs: folders of real exercises that the whole pipeline is run over (`tandem bench tasks`)."""
