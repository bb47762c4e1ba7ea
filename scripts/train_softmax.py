"""The softmax in training, and the dropout in front of it: the same for every architecture."""

import torch

ROWS = 512  # predictions whose logits are held at a time: they stay in the processor's cache


class SoftmaxLoss(torch.autograd.Function):
    """Mean cross-entropy of a linear softmax; the gradient is taken together with the value, block by block."""

    @staticmethod
    def forward(ctx, outputs, embedding, bias, targets):
        """Return the mean loss in nats."""
        total = 0.0
        grad_outputs = torch.empty_like(outputs)
        grad_embedding = torch.zeros(embedding.shape)
        grad_bias = torch.zeros(bias.shape)
        blocks = zip(outputs.split(ROWS), grad_outputs.split(ROWS), targets.split(ROWS), strict=True)
        for rows, grads, target in blocks:
            logits = torch.mm(rows, embedding.t()).float().add_(bias)
            log_p = torch.log_softmax(logits, 1)
            total -= log_p.gather(1, target[:, None]).double().sum().item()
            p = log_p.exp_()
            p[torch.arange(len(target)), target] -= 1.0
            grad_bias += p.sum(0)
            p = p.to(rows.dtype)
            grads.copy_(p @ embedding)
            grad_embedding += p.t() @ rows
        ctx.save_for_backward(grad_outputs, grad_embedding, grad_bias)
        return torch.tensor(total / len(targets))

    @staticmethod
    def backward(ctx, grad):
        """Return the gradients that forward() has kept."""
        count = len(ctx.saved_tensors[0])
        grad_outputs, grad_embedding, grad_bias = (each * (grad / count) for each in ctx.saved_tensors)
        return grad_outputs, grad_embedding, grad_bias, None


def locked_dropout(values, rate):
    """Drop the same units at every step of the chunk ([steps, batch, units])."""
    keep = torch.rand(values.shape[1:]) >= rate
    return values * (keep / (1.0 - rate)).to(values.dtype)
