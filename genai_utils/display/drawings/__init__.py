"""The drawings of the book, by its parts. Each draws one idea, with the symbols of its chapter.

canvas       the pen: boxes, arrows, tensors, text
structure    chapters 1 to 7 and the page of one idea
language     chapters 8 to 10
finetuning   chapter 11
images       chapters 19 to 27
flows        chapter 25
prompting    chapter 12
scaling      chapter 13
clip         chapter 28
experts      chapter 18
rag          chapter 16
agents       chapter 17
lora         chapter 15
text_to_image  chapter 29
scoreboard   chapter 30
"""
