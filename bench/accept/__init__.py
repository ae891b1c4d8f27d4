"""What only the real machines can show, measured against its target: `tandem accept`.

`targets` has what is asked, by row; each other module measures one area and knows no target; `report` compares and puts
it in words.
"""
