"""Reading the meters: one task for each bus."""
